"""The API's description, with every served model in it; that of ready models is beside them."""
