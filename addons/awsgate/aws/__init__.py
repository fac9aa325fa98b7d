"""What AWS puts on the wire: endpoints, signatures, error shapes. Pure."""
