"""The outputs of one experiment, read and drawn: for the report, and for whatever compares experiments.

    results = read_results()
    results.scores                    # a table, one row for each checkpoint
    training_charts(results)["loss"]  # an SVG

`places` says where everything lies, `tables` reads the tables, `reading` all of it and holds it against each other;
`scores` and `effects` say what to make of it; `charts`, `images` and `html` make of it what a page shows.
"""
