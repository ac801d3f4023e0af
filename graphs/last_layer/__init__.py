"""The last layer for the pooled row alone, where the pooling reads one row."""
