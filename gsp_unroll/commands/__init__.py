"""The commands of ``python -m gsp_unroll``, one file each: its options and what it does."""
