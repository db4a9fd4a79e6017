# For `cargo xtask dev bench build`: FRR in one stage with plain make, as the recipe did that this project replaces.
# Same source, same configuration; the build tools stay inside.
ARG BASE=debian:trixie-slim
FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
RUN if [ -f /etc/apt/sources.list.d/debian.sources ]; then \
      sed -i 's/^Types:.*/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources; \
    else sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >> /etc/apt/sources.list.d/source.list; fi; \
    apt-get update && apt-get upgrade -y
RUN apt-get install -y --no-install-recommends git autoconf automake libtool make libreadline-dev texinfo \
      pkg-config libpam0g-dev libjson-c-dev bison flex libc-ares-dev python3-dev python3-sphinx install-info \
      build-essential libsnmp-dev perl libcap-dev libelf-dev libunwind-dev protobuf-c-compiler libprotobuf-c-dev \
      cmake libpcre2-dev libgrpc++-dev protobuf-compiler-grpc libsqlite3-dev libzmq5 libzmq3-dev vim nload ethtool \
      snmpd openssh-server libyang-dev dpkg-dev
RUN groupadd -r -g 92 frr && groupadd -r -g 85 frrvty && useradd -r -g frr -G frrvty -d /run/frr \
      -s /usr/sbin/nologin frr
RUN mkdir /src && cd /src && apt-get source frr && cd frr-*/ && ./bootstrap.sh && \
    ./configure --prefix=/usr --includedir=/usr/include --bindir=/usr/bin --sbindir=/usr/lib/frr --libdir=/usr/lib/frr \
      --libexecdir=/usr/lib/frr --sysconfdir=/etc --localstatedir=/var --with-moduledir=/usr/lib/frr/modules \
      --enable-configfile-mask=0640 --enable-logfile-mask=0640 --enable-snmp --enable-multipath=64 \
      --enable-user=frr --enable-group=frr --enable-vty-group=frrvty --disable-doc && \
    make && make install
RUN apt-get autoremove -y && apt-get clean && rm -rf /var/lib/apt/lists/* /src
ENTRYPOINT ["/usr/bin/vtysh"]
