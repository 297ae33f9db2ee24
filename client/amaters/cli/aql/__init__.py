"""The text form of AQL that `query` and the interactive shell take. Pure: text in, values out.

value >= '100' AND NOT value IN ('sold', 'void') LIMIT 20 OFFSET 40
UPDATE SET value = 'sold' WHERE value BEGINS WITH 'reserved:'
"""
