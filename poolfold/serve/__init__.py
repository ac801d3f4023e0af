"""An artifact as a service over HTTP: OpenAI's embeddings, and text-embeddings-inference's routes.

serve      artifacts -> a process that answers until it is told to end; its signals
service    what a request asks for -> vectors: models by name, limits, the queue
limits     how much it takes, with every default
models     artifacts by the names that requests call them by
batcher    requests' rows -> batches, computed in threads
waiting    which of the rows that wait run next
app        the routes, and what all of them share: keys, request ids, logs, errors
openai     /v1/embeddings and /v1/models
tei        /embed, /embed_all, /tokenize and /info
openapi    what the routes take and give, as OpenAPI and as a page
body       a request's body -> a value, within limits of size and time
failures   what went wrong -> a status and a message
protocol   connections: how long a request's head may take
metrics    counters for Prometheus
logs       structured logs, without texts

It needs the extra `serve`.
"""
