"""da/disperser"""
