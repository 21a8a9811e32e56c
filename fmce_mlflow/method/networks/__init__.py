"""Networks: build them, find their functional modules, capture feature maps, draw fresh weights."""
