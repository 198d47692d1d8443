# The one-liner that admins pass on to count PGs per OSD and pool, with the one change that makes it right for Ceph 16:
# it takes the column UP itself, not the one after it. Kept in its own words, since it is what evac replaces.
BEGIN { IGNORECASE = 1 }
/^PG_STAT/ { col=1; while($col!="UP") {col++} }
/^[0-9a-f]+\.[0-9a-f]+/ {
  match($0,/^[0-9a-f]+/); pool=substr($0, RSTART, RLENGTH); poollist[pool]=0;
  up=$col; i=0; RSTART=0; RLENGTH=0; delete osds;
  while(match(up,/[0-9]+/)>0) { osds[++i]=substr(up,RSTART,RLENGTH); up = substr(up, RSTART+RLENGTH) }
  for(i in osds) {array[osds[i],pool]++; osdlist[osds[i]];}
}
END {
  printf("\n");
  printf("pool :\t"); for (i in poollist) printf("%s\t",i); printf("| SUM \n");
  for (i in poollist) printf("--------"); printf("----------------\n");
  for (i in osdlist) {
    printf("osd.%i\t", i); sum=0;
    for (j in poollist) { printf("%i\t", array[i,j]); sum+=array[i,j]; sumpool[j]+=array[i,j] };
    printf("| %i\n",sum)
  }
  for (i in poollist) printf("--------"); printf("----------------\n");
  printf("SUM :\t"); for (i in poollist) printf("%s\t",sumpool[i]); printf("|\n");
}
