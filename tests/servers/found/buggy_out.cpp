// A learner's echo server with a fault. It watches EPOLLOUT all the time, and uses all of a processor when it is idle.
#include <stdio.h>
#include <unistd.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <fcntl.h>
#include <sys/epoll.h>
int main(int argc,char**argv){
  int l=socket(AF_INET,SOCK_STREAM,0); int one=1; setsockopt(l,SOL_SOCKET,SO_REUSEADDR,&one,sizeof one);
  sockaddr_in a{}; a.sin_family=AF_INET; a.sin_port=htons(atoi(argv[1])); bind(l,(sockaddr*)&a,sizeof a); listen(l,128);
  int ep=epoll_create(1); epoll_event ev{}; ev.events=EPOLLIN; ev.data.fd=l; epoll_ctl(ep,EPOLL_CTL_ADD,l,&ev);
  epoll_event evs[10];
  while(true){ int n=epoll_wait(ep,evs,10,-1);
    for(int i=0;i<n;i++){ int fd=evs[i].data.fd;
      if(fd==l){ int c=accept(l,0,0); fcntl(c,F_SETFL,fcntl(c,F_GETFL,0)|O_NONBLOCK); ev.events=EPOLLIN|EPOLLOUT; ev.data.fd=c; epoll_ctl(ep,EPOLL_CTL_ADD,c,&ev);} 
      else { char b[4096]; int r=recv(fd,b,sizeof b,0); if(r==0 || (r<0 && errno!=EAGAIN)){close(fd);} else if (r<0) ; else send(fd,b,r,0); } } } }
