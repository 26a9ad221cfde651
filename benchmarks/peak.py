"""Runs a command and adds `peak_kib=N` to its standard error: its largest resident size."""

import resource
import subprocess
import sys

status = subprocess.run(sys.argv[1:]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
sys.stderr.write(f"\npeak_kib={peak}\n")
sys.exit(status)
