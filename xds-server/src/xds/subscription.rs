//! What one client wants of one resource type, and what it is known to have.
