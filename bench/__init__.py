"""What we claim, measured: speed beside plain servers, exactness under kills, size and start.

python -m bench verify      requests a second, side by side; 64 at once on 50 left
python -m bench small       memory at rest, seconds until ready
python -m bench.exactness   64 clients while processes are killed
"""
