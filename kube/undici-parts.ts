// What is used of undici. The package gives all of it or nothing: fetch, WebSockets, caches and the like would be loaded for nobody.
import request from 'undici/lib/api/api-request.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

// As the package's own index does it: dispatchers know only dispatch() until then.
Object.assign(Dispatcher.prototype, { request });

export { Pool, ProxyAgent };
