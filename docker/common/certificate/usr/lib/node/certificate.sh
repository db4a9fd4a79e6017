# shellcheck shell=bash
# The TLS certificate of a node, and its private key.

# has_key FILE: whether FILE contains a private key. That is not said of an encrypted one, which no service could use.
has_key() {
  grep -q -e '^-----BEGIN \(RSA \|EC \)\?PRIVATE KEY-----' "$1" 2> /dev/null
}

# restore_certificate FILE: gives FILE the key and certificate in the node's file tls.pem. If that has no key, as before
# the first start, both are generated and kept there, so that they outlive the container.
restore_certificate() {
  local kept=$NODE_FILES/tls.pem
  if has_key "$kept"; then
    (umask 077 && text_of "$kept" > "$1")
    return
  fi
  if ! has_key "$1"; then
    (
      umask 077
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 -subj "/CN=$SERVICE" \
        -keyout "$1.key" -out "$1.new" && cat "$1.key" >> "$1.new" && mv "$1.new" "$1"
      rm -f "$1.key" "$1.new"
    ) 2>> "$LOG"
  fi
  if [[ -f $kept ]]; then
    cat "$1" > "$kept"
  fi
}
