"""The whole way on generated parts."""
