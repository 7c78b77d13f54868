import hashlib, time, resource, random
import pytest
from attrs import evolve
from twisted.internet.defer import gatherResults, Deferred
from tests.index.test_downloads import file_of, KEY, PATH
from tests.support.consumers import Taker
from pathlib import Path
class Counter(Taker):
    n=0
    def write(self,data): self.n+=len(data)
@pytest.mark.deadline(60)
async def test_perf(node, evil, reactor, tmp_path):
    big=tmp_path/"big.bin"
    block=random.Random(1).randbytes(1_000_000)
    with big.open("wb") as f:
        for _ in range(50): f.write(block)
    evil.add_file("big","big-1.0.tar.gz",big)
    f=evolve(file_of(evil,b""),size=50_000_000,digests={"sha256":evil.projects["big"][0].sha256})
    r0=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    t=time.time()
    arr=[await node.downloads.follow(KEY,f) for _ in range(50)]
    takers=[Counter() for _ in arr]
    await gatherResults([a.send(c,0,None) for a,c in zip(arr,takers)])
    print("cold 50x50MB",time.time()-t, evil.hits, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-r0,"KiB")
    assert all(c.n==50_000_000 for c in takers)
    t=time.time()
    s=await node.downloads.follow(KEY,f)
    c=Counter()
    await s.send(c,0,None)
    print("warm one 50MB",time.time()-t)
    t=time.time()
    f2=evolve(f)
    a=await node.downloads.follow(KEY+"2",f2); c=Counter(); await a.send(c,0,None)
    print("cold one 50MB",time.time()-t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-r0)
