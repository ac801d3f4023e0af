"""What a service over an artifact does under load, beside others that serve the same model.

clients    asks a service from many clients at once, and checks every answer
systems    the services, each a process of its own
plain      the plain alternative: FastAPI over sentence-transformers
alone      `encode` of one text after another, without a service
workers    threads of one process, or processes
soak       hours of load, overload, kills and hostile requests
__main__   interleaved windows at 1, 8, 64 and 512 clients -> a table
"""
