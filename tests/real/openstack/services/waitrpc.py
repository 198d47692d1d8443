"""waitrpc.py PORT PASSWORD QUEUE: exit 0 once somebody consumes the queue."""

import contextlib
import sys
import time

import amqp  # type: ignore[import-not-found]  # of the lab's own environment

port, password, queue = sys.argv[1:4]
end = time.monotonic() + 120
while time.monotonic() < end:
    with contextlib.suppress(OSError, amqp.exceptions.AMQPError):
        connection = amqp.Connection(f"127.0.0.1:{port}", userid="lab", password=password)
        connection.connect()
        consumers = connection.channel().queue_declare(queue, passive=True).consumer_count
        connection.close()
        if consumers:
            sys.exit(0)
    time.sleep(0.2)
sys.exit(f"nobody consumes the queue {queue} after 120 s")
