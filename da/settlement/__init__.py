"""da/settlement"""
