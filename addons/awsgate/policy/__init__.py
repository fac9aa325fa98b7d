"""Who may do what: resources, matching, and the decision. Pure."""
