import socket,struct,sys,time,select,os
kind,ifname,dmac=sys.argv[1:4]; count=int(sys.argv[4])
S4,D4='192.0.2.2','192.0.2.1'; S6,D6='2001:db8::2','2001:db8::1'
if len(sys.argv)>5: S4=sys.argv[5]
def csum(b):
    if len(b)%2: b+=b'\0'
    s=sum(struct.unpack('!%dH'%(len(b)//2),b))
    while s>>16: s=(s&0xffff)+(s>>16)
    return s
smac=open(f'/sys/class/net/{ifname}/address').read().strip() if False else sys.argv[6] if len(sys.argv)>6 else None
def mac(m): return bytes.fromhex(m.replace(':',''))
def tcp(dport,v6,sport=50000,flags=2,bad=False):
    h=struct.pack('!HHIIBBHHH',sport,dport,1000+dport,0,0x50,flags,1024,0,0)
    if v6: p=socket.inet_pton(socket.AF_INET6,S6)+socket.inet_pton(socket.AF_INET6,D6)+struct.pack('!II',20,6)
    else: p=socket.inet_aton(S4)+socket.inet_aton(D4)+struct.pack('!HH',6,20)
    c=(~csum(p+h))&0xffff
    if bad: c^=0x1234
    return h[:16]+struct.pack('!H',c)+h[18:]
def ip4(t):
    h=struct.pack('!BBHHHBBH',0x45,0,20+len(t),1,0,64,6,0)+socket.inet_aton(S4)+socket.inet_aton(D4)
    return h[:10]+struct.pack('!H',(~csum(h))&0xffff)+h[12:]+t
def ip6(nh,body): return struct.pack('!IHBB',6<<28,len(body),nh,64)+socket.inet_pton(socket.AF_INET6,S6)+socket.inet_pton(socket.AF_INET6,D6)+body
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3)); s.bind((ifname,0))
me=s.getsockname()[4]; eth=mac(dmac)+me
vnet=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,0)
if kind=='partial':
    vnet.setsockopt(263,15,1); vnet.bind((ifname,0))
seen=set(); kinds={}
def rx(t):
    end=time.time()+t
    while time.time()<end:
        r,_,_=select.select([s],[],[],max(0,end-time.time()))
        if not r: return
        f=s.recv(4096)
        if f[0:6]!=me: continue
        et=f[12:14]
        if et==b'\x08\0' and f[23]==6: o=14+20
        elif et==b'\x86\xdd' and f[20]==6: o=14+40
        else: continue
        sp,dp=struct.unpack('!HH',f[o:o+4])
        if dp==50000: seen.add(sp); kinds[sp]=f[o+13]
for p in range(1,count+1):
    if kind=='plain': s.send(eth+b'\x08\0'+ip4(tcp(p,0)))
    elif kind=='tags': s.send(eth+b'\x81\0\0\0'*3+b'\x08\0'+ip4(tcp(p,0)))
    elif kind=='partial':
        # virtio_net_hdr: flags NEEDS_CSUM, csum_start = 34, offset 16
        vnet.send(struct.pack('<BBHHHH',1,0,0,0,34,16)+eth+b'\x08\0'+ip4(tcp(p,0,bad=True)))
    elif kind=='plain6': s.send(eth+b'\x86\xdd'+ip6(6,tcp(p,1)))
    elif kind=='zero':
        b=ip6(0,bytes([6,0,1,4,0,0,0,0])+tcp(p,1)); b=b[:4]+b'\0\0'+b[6:]
        s.send(eth+b'\x86\xdd'+b)
    elif kind=='zeroblocked':
        b=ip6(0,bytes([6,0,1,4,0,0,0,0])+tcp(p,1)); b=b[:4]+b'\0\0'+b[6:]
        s.send(eth+b'\x86\xdd'+b)
    elif kind=='chain':
        # reassembled: dstopts(16) dstopts(8) tcp ; first fragment has only the first 8 bytes of the first dstopts
        body=bytes([60,1,0x1e,12]+[0]*12)+bytes([6,0,1,4,0,0,0,0])+tcp(p,1)
        ident=0x7000+p
        s.send(eth+b'\x86\xdd'+ip6(44,struct.pack('!BBHI',60,0,1,ident)+body[:8]))
        s.send(eth+b'\x86\xdd'+ip6(44,struct.pack('!BBHI',60,0,8,ident)+body[8:]))
    rx(0.03)
rx(0.5)
print(len(seen),sorted(seen)[:5],{k:hex(v) for k,v in list(kinds.items())[:3]})
