"""What others would run instead: small servers whose code comes from their own registries."""
