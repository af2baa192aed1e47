"""Tables: read, typed by a schema, checked, labelled."""
