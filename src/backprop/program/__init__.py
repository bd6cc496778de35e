"""What Python hands to the compiled core: the graph, the objective, the data and the job, each built in one place."""
