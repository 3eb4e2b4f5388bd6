"""Service accounts: key pairs that programs use, who prove by RSA keys that they may."""
