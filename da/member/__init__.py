"""da/member"""
