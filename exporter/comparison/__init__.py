"""Which pooling for a user's data: quality, speed and memory of each strategy, side by side.

read_task         a user's data -> a task
tasks             what is measured: pairs, retrieval, triplets, labels, bare texts
entries           what is compared: strategies of models, each as an artifact
embedded          their vectors of the task's texts, kept between runs
quality           vectors -> the field's metrics, as functions of units that can be drawn again
resampling        paired bootstrap: intervals, and leads that are ahead, level or not settled
small_index       what an index of vectors in fewer bits costs
breakdown         the same by language, domain and length
token_embeddings  the model as exporters commonly leave it, to hold cost against
cost              latency, throughput and memory; cost_stage keeps them between runs
recommendation    which strategy, by stated rules
folder            where all of it is kept
comparison        all of it, stage by stage; as_json what scripts read
"""
