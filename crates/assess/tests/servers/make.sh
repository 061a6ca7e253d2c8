#!/bin/sh
# Makes the logs in this folder anew, with the programs themselves: each is started on the loopback, asked
# for ordinary and odd things (curl), then for the routes of EPMM's flaws with the word INERT where a
# payload would stand, and stopped. Nothing here exploits anything: the servers answer 200 or 404.
# Needs Debian's nginx, apache2, lighttpd, haproxy, caddy and curl. Usage: make.sh [FOLDER]
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
to=${1:-$here}
PATH=$PATH:/usr/sbin
mkdir -p "$to"
work=$(mktemp -d)
trap 'stop; rm -rf "$work"' EXIT
pid=
stop() { [ -z "$pid" ] || { kill "$pid" 2> /dev/null || true; wait "$pid" 2> /dev/null || true; pid=; }; }
mkdir -p "$work/www/css"
echo hello > "$work/www/index.html"
echo 'a{}' > "$work/www/css/a.css"
chmod -R a+rX "$work"

# ask PORT CURL-WORDS...: from one of three addresses of the loopback.
n=0
ask() {
    port=$1; shift
    n=$((n % 3 + 1))
    curl -s -o /dev/null --path-as-is --max-time 5 --interface "127.0.0.$((n + 1))" -H 'Host: www.example.org' "$@" || true
}
ordinary() {
    u=http://127.0.0.1:$1
    ask "$1" "$u/"
    ask "$1" "$u/index.html"
    ask "$1" -e https://www.example.org/index.html "$u/css/a.css"
    ask "$1" -I "$u/"
    ask "$1" -0 "$u/old"
    ask "$1" -X OPTIONS "$u/"
    ask "$1" -X PROPFIND -d x "$u/dav/"
    ask "$1" -u 'ward 7:INERT' "$u/private/"
    ask "$1" -A 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)' "$u/search?q=%22ward%207%22&limit=50"
    ask "$1" -A 'say "hello" \ and [brackets] {braces} | pipes' "$u/quoted"
    ask "$1" -e 'https://www.example.org/?q="x" - [1/Jan/2000:00:00:00 +0000]' "$u/referred"
    ask "$1" "$u/caf%C3%A9/%D0%BC.html"
    ask "$1" "$u/$(printf 'caf\303\251')"
    ask "$1" "$u/a%20b;v=1/c//d/./e/../f"
    ask "$1" "$u/wp-login.php"
    ask "$1" "$u/.env"
    ask "$1" "$u/cgi-bin/%2e%2e/%2e%2e/etc/INERT"
    ask "$1" "$u/index.php?q=%24%7BINERT%7D"
    ask "$1" "$u/owa/auth/logon.aspx?url=https%3a%2f%2fmail.example.org%2fowa%2f"
    ask "$1" "$u/api/v2/users"
    ask "$1" "$u/shop/featureusage?format=csv"
    ask "$1" "$u/403.jsp"
    ask "$1" "$u/long?x=$(printf '%04000d' 0)"
    ask "$1" -H 'X-Forwarded-For: 198.51.100.9, 10.0.0.1' "$u/forwarded"
    # What is no HTTP at all: the beginning of a TLS hello, and a word.
    printf '\026\003\001\002\000\001\000\001\374\003\003' | timeout 2 curl -s "telnet://127.0.0.1:$1" > /dev/null 2>&1 || true
    printf 'HELLO\r\n\r\n' | timeout 2 curl -s "telnet://127.0.0.1:$1" > /dev/null 2>&1 || true
}
inert() {
    u=http://127.0.0.1:$1
    ask "$1" "$u/mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D"
    ask "$1" "$u/mifs/rs/%61pi/v2/featureusage_history?format=%2524%257BINERT%257D"
    ask "$1" "$u/mifs/c/appstore/fob/3/5/sha256:kid=1,st=%60INERT%60,et=1,h=x/x.ipa"
    ask "$1" "$u/mifs/aad/api/v2/ping"
}
# lines NAME PORT WHICH COMMAND...: starts the program, asks it, stops it, and keeps what it wrote.
lines() {
    name=$1; port=$2; which=$3; shift 3
    "$@" > "$work/out" 2> /dev/null & pid=$!
    tries=0
    until curl -s -o /dev/null "http://127.0.0.1:$port/up"; do tries=$((tries + 1)); [ $tries -lt 50 ]; sleep 0.1; done
    "$which" "$port"
    sleep 1
    stop
    [ -s "$work/log" ] || mv "$work/out" "$work/log"
    grep -a -v '/up' "$work/log" > "$to/$name.$which.log"
    rm -f "$work/log"
    echo "$name, $which: $(wc -l < "$to/$name.$which.log") lines"
}
# server NAME PORT COMMAND...
server() {
    name=$1; port=$2; shift 2
    lines "$name" "$port" ordinary "$@"
    lines "$name" "$port" inert "$@"
}

cat > "$work/nginx.conf" <<IN
daemon off; pid $work/nginx.pid; error_log /dev/null; worker_processes 1;
events {}
http { client_body_temp_path $work/n1; proxy_temp_path $work/n2; fastcgi_temp_path $work/n3; uwsgi_temp_path $work/n4; scgi_temp_path $work/n5;
  server { listen 127.0.0.1:18081; root $work/www; access_log $work/log combined; } }
IN
server nginx-combined 18081 nginx -p "$work" -c "$work/nginx.conf"
sed -i "s/access_log .* combined;/access_log $(echo "$work" | sed 's,/,\\/,g')\/log j;/; s/^  server/  log_format j escape=json '{\"time_local\":\"\$time_local\",\"remote_addr\":\"\$remote_addr\",\"request\":\"\$request\",\"status\":\"\$status\",\"body_bytes_sent\":\"\$body_bytes_sent\",\"http_user_agent\":\"\$http_user_agent\",\"http_x_forwarded_for\":\"\$http_x_forwarded_for\"}';\n  server/" "$work/nginx.conf"
server nginx-json 18081 nginx -p "$work" -c "$work/nginx.conf"

for format in common combined vhost_combined; do
    cat > "$work/apache.conf" <<IN
ServerRoot /usr/lib/apache2
ServerName www.example.org
Listen 127.0.0.1:18082
PidFile $work/apache.pid
DefaultRuntimeDir $work
ErrorLog /dev/null
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule dir_module modules/mod_dir.so
LogFormat "%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" vhost_combined
LogFormat "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined
LogFormat "%h %l %u %t \"%r\" %>s %O" common
DocumentRoot $work/www
CustomLog $work/log $format
IN
    server "apache2-$(echo $format | tr _ -)" 18082 apache2 -X -f "$work/apache.conf"
done

cat > "$work/lighttpd.conf" <<IN
server.document-root = "$work/www"
server.bind = "127.0.0.1"
server.port = 18083
server.modules = ( "mod_accesslog" )
accesslog.filename = "$work/log"
IN
server lighttpd 18083 lighttpd -D -f "$work/lighttpd.conf"

cat > "$work/haproxy.cfg" <<IN
global
  log stdout format raw local0
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend https-in
  bind 127.0.0.1:18084
  log global
  option httplog
  capture request header X-Forwarded-For len 64
  capture request header User-Agent len 128
  default_backend mdm
backend mdm
  http-request return status 404
IN
server haproxy-httplog 18084 haproxy -db -f "$work/haproxy.cfg"

cat > "$work/Caddyfile" <<IN
{
  admin off
  auto_https off
  storage file_system $work/caddy
}
http://:18085 {
  bind 127.0.0.1
  root * $work/www
  file_server
  log {
    output file $work/log
  }
}
IN
export HOME="$work"
server caddy 18085 caddy run --config "$work/Caddyfile" --adapter caddyfile
