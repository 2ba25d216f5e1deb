"""Files in object stores (``s3://``, ``gs://``, whatever fsspec knows), read as local ones are.

``places``: a path or a URL behind one small interface; ``range_file``: an object as a file to be searched;
``store``: one request that is repeated where that can help; ``clients``: what a kind of store is asked;
``faults``: what passes and what does not; ``traffic``: what it all took; ``ahead``: reads side by side, in
order.
"""
