# shellcheck shell=bash
# The TLS certificate of a node, and its private key.

is_pem() {
  grep -q -e '^-----BEGIN ' "$1" 2> /dev/null
}

# make_certificate FILE: writes a new private key and a self-signed certificate to FILE.
make_certificate() {
  (
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 -subj "/CN=$SERVICE" \
      -keyout "$1.key" -out "$1.new" && cat "$1.key" >> "$1.new" && mv "$1.new" "$1"
    rm -f "$1.key" "$1.new"
  ) 2>> "$LOG"
}

# restore_certificate FILE: gives FILE the key and certificate in the node's file tls.pem. If that has neither, as
# before the first start, both are generated and kept there, so that they outlive the container. What the user has put
# there is never replaced: if it is of no use, the service says so.
restore_certificate() {
  local kept=$NODE_FILES/tls.pem
  if is_pem "$kept"; then
    (umask 077 && text_of "$kept" > "$1")
    return
  fi
  is_pem "$1" || make_certificate "$1"
  if [[ -f $kept ]]; then
    cat "$1" > "$kept"
  fi
}
