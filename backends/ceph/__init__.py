"""Ceph, by librados or the `ceph` command. Importing this package is cheap."""
