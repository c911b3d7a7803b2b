# One redis for each environment, in a folder named by it; started anew it is the same one.
place=$CACHES/$CXLOCAL_INSTANCE
mkdir -p "$place"
test -s "$place/port" || python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])' > "$place/port"
port=$(cat "$place/port")
changed=false
if ! redis-cli -p "$port" ping > /dev/null 2>&1; then
  changed=true
  redis-server --port "$port" --bind "$CACHE_HOST" 127.0.0.1 --protected-mode no --save "" \
    --dir "$place" --pidfile "$place/pid" --logfile "$place/log" --daemonize yes
fi
echo "{\"changed\": $changed, \"outputs\": {\"url\": \"redis://$CACHE_HOST:$port\"}}" > "$CXLOCAL_RESULT"
