"""An encoder graph in the form that later chapters expect: its interface, its shapes, its constants."""
