"""History, numbers and receipts in files, for machines without a network.

Not here: what is done at a contact (exchange).
"""
