"""How evidence is made: planned, announced, done job by job, cached, gone on with."""
