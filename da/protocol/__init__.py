"""da/protocol"""
