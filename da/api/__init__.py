"""da/api"""
