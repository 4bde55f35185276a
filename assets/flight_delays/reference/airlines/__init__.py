"""The airlines behind the carrier codes."""
