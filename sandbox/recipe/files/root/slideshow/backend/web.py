"""The app's web front: four endpoints on port 80.

GET  /api/health             200 healthy, 503 degraded: {status, checks}
GET  /api/jobs?limit=10      {total, jobs}
POST /api/batch              form: links (one a line), photos; knobs: variations, seconds,
                             megabytes, failure -> {batch_id, job_id}
GET  /api/batch/<id>/status  {status, progress, links}
"""

from __future__ import annotations

import json
import os
import sqlite3
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Tuple
from urllib.parse import parse_qs, urlsplit

import celery_config
import redis
import store

PORT = int(os.environ.get('SLIDESHOW_PORT', '80'))
Answer = Tuple[int, Dict[str, Any]]


def health() -> Answer:
    checks = {}
    try:
        store.query('SELECT count(*) FROM jobs')
        checks['database'] = 'ok'
    except sqlite3.Error as error:
        checks['database'] = str(error)
    try:
        redis.Redis.from_url(celery_config.broker_url, socket_timeout=2).ping()
        checks['redis'] = 'ok'
    except redis.RedisError as error:
        checks['redis'] = str(error)
    healthy = all(check == 'ok' for check in checks.values())
    return (200 if healthy else 503), {
        'status': 'healthy' if healthy else 'degraded',
        'checks': checks,
    }


def list_jobs(limit: int) -> Answer:
    total = store.query('SELECT count(*) AS n FROM jobs')[0]['n']
    jobs = store.query('SELECT * FROM jobs ORDER BY created_at DESC, id LIMIT ?', limit)
    return 200, {'total': total, 'jobs': jobs}


def submit_batch(form: Dict[str, str]) -> Answer:
    import tasks  # only here: the first submission pays for Celery, a boot does not

    links = [line.strip() for line in form.get('links', '').replace(',', '\n').splitlines()]
    links = [link for link in links if link]
    if not links:
        return 400, {'error': 'links: expected one or more, one a line'}
    try:
        knobs: Dict[str, Any] = {}
        if 'seconds' in form:
            knobs['seconds'] = float(form['seconds'])
        if 'megabytes' in form:
            knobs['megabytes'] = int(form['megabytes'])
        if 'failure' in form:
            knobs['failure'] = form['failure']
        variations = int(form.get('variations', '0'))
    except ValueError as error:
        return 400, {'error': str(error)}
    ids = store.add_batch(links, variations)
    try:
        tasks.process_batch.delay(ids['batch_id'], **knobs)
    except tasks.process_batch.OperationalError as error:
        return 503, {'error': f'the queue is not there: {error}', **ids}
    return 200, dict(ids)


def show_batch(batch_id: str) -> Answer:
    batch = store.find('batches', batch_id)
    if batch is None:
        return 404, {'error': f'no batch {batch_id}'}
    links = store.count_links(batch_id)
    done = links['completed'] + links['failed']
    progress = round(100 * done / links['total']) if links['total'] else 0
    return 200, {'status': batch['status'], 'progress': progress, 'links': links}


def parse_form(content_type: str, body: bytes) -> Dict[str, str]:
    if content_type.startswith('multipart/form-data'):
        head = b'Content-Type: ' + content_type.encode('latin-1') + b'\r\n\r\n'
        form = {}
        for part in BytesParser().parsebytes(head + body).walk():
            name = part.get_param('name', header='content-disposition')
            if name and not part.get_filename():
                payload = part.get_payload(decode=True)
                form[str(name)] = payload.decode('utf-8') if isinstance(payload, bytes) else ''
        return form
    return {name: values[-1] for name, values in parse_qs(body.decode('utf-8')).items()}


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip('/').split('/')
        if url.path == '/api/health':
            self.answer(*health())
        elif url.path == '/api/jobs':
            limit = parse_qs(url.query).get('limit', ['10'])[-1]
            if limit.isdigit():
                self.answer(*list_jobs(int(limit)))
            else:
                self.answer(400, {'error': 'limit: expected a number'})
        elif len(parts) == 4 and parts[:2] == ['api', 'batch'] and parts[3] == 'status':
            self.answer(*show_batch(parts[2]))
        else:
            self.answer(404, {'error': f'no such page: {url.path}'})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        if urlsplit(self.path).path == '/api/batch':
            self.answer(*submit_batch(parse_form(self.headers.get('Content-Type', ''), body)))
        else:
            self.answer(404, {'error': f'no such page: {self.path}'})

    def answer(self, status: int, content: Dict[str, Any]) -> None:
        body = (json.dumps(content) + '\n').encode('utf-8')
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        """Errors only: a probe every second must not fill the journal."""
        if len(values) > 1 and str(values[1]).startswith('5'):
            super().log_message(format, *values)


if __name__ == '__main__':
    store.create()
    print(f'listening on port {PORT}', flush=True)
    ThreadingHTTPServer(('', PORT), Handler).serve_forever()
