"""An artifact where another library expects an embedding model. Each file imports the library of its name alone.

embedder               what all of them hold: an artifact, and what makes it again
langchain              LangChain's Embeddings
llama_index            LlamaIndex's BaseEmbedding
haystack               Haystack's text and document embedders
chroma                 Chroma's EmbeddingFunction
lancedb                LanceDB's TextEmbeddingFunction
qdrant                 points and queries of a Qdrant collection
sentence_transformers  a module of a SentenceTransformer
mteb                   a model that MTEB evaluates
"""
