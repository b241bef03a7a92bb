"""NATS: the connection that publication and command services will share."""
