# A shop that knows its version, its orders and its visits.
python3 - "$1" <<'P'
import os, sys, urllib.request
def ask(path):
    with urllib.request.urlopen(sys.argv[1] + path, timeout=10) as answer:
        return answer.read().decode()
assert ask("/").startswith("webshop " + os.environ["CXLOCAL_VERSION"] + "\n"), ask("/")
assert " orders, visit :" in ask("/orders"), ask("/orders")
P
