"""Places elsewhere that show in the tree: folders of this machine, web servers, buckets.

Only administrators mount, only what the operator's settings name, and only to read unless said
otherwise. What is shown is never changed by what happens to the mount itself.
"""
