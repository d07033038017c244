"""da/store"""
