"""The intermediate representation: sizes, dtypes, tensors, values, nodes, graphs, scopes; its text and file forms."""
