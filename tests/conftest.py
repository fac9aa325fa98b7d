"""What holds for every test."""

import signal

# A run in the background (nohup, `&` without job control) inherits an ignored SIGINT, and so
# would each program a test starts and means to interrupt: it would wait for its end for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
