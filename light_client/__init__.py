"""light_client"""
