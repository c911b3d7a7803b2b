"""A store without a server: files in a shared folder, or objects in a bucket.

One log, one key an entry, each put only where nothing stands yet; every machine folds it into a
copy of its own and answers itself by the rules of ``cxlocal_sync.stores``. ``folder`` and
``objects`` hold the keys, ``store`` is the store, the rest is between them. sync/README.md §3 has
the strategy.
"""
