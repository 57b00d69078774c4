"""The processes of a host: a role, its hands and its post, whoever started them."""
