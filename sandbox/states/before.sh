#!/bin/bash
# The host as the task list found it on January 18, 2026: five children, three workers that nobody
# remembers starting, no swap, and rows that have been "processing" since January 16.
set -eu

backend=/root/slideshow/backend

if ! systemd-detect-virt --quiet --container; then
  swapoff --all
  sysctl --quiet vm.swappiness=60
fi
rm -f /swapfile
sed -i '/\sswap\s/d' /etc/fstab
rm -f /etc/sysctl.d/*swappiness*.conf

cat >/etc/systemd/system/celery-worker.service <<'UNIT'
[Unit]
Description=Celery Worker for TikTok Slideshow Generator
After=network.target redis.service

[Service]
Type=simple
User=root
WorkingDirectory=/root/slideshow/backend
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=5 -Q celery,batch,links,variations
Restart=always

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl --quiet enable celery-worker.service

# The rows are there before any worker is: none of them belongs to a process that lives.
sqlite3 -bail "$backend/batch_processing.db" <<'SQL'
PRAGMA foreign_keys = ON;
BEGIN IMMEDIATE;
DELETE FROM batch_variations;
DELETE FROM batch_links;
DELETE FROM batches;
DELETE FROM jobs;
DELETE FROM video_jobs;

-- Stuck: two jobs, each with two batches of three links. created_at has SQLite's form and
-- started_at has Python's, both UTC without saying so.
INSERT INTO jobs (id, job_type, status, total_links, completed_links, failed_links, folder_name, celery_task_id, created_at, started_at) VALUES
  ('77cfa3cd-5b0e-4c7e-9d51-2f8a6c1e4b90', 'batch', 'processing', 6, 0, 0, 'batch-3d0c51aa', 'e1c0f5a2-6d4b-4c1f-8a77-90b1c2d3e4f5', '2026-01-16 14:21:07', '2026-01-16T14:21:09.418273'),
  ('b49d06f6-1c2f-4f3a-8e64-7d9b0a5c3e21', 'batch', 'processing', 6, 0, 0, 'batch-8e7b20cf', 'f2d1e6b3-7e5c-4d20-9b88-a1c2d3e4f5a6', '2026-01-16 15:02:44', '2026-01-16T15:02:45.007916');
INSERT INTO batches (id, status, total_links, job_id, created_at, started_at) VALUES
  ('3d0c51aa-90f4-4e0b-b1c7-5a2d8e6f7c01', 'processing', 3, '77cfa3cd-5b0e-4c7e-9d51-2f8a6c1e4b90', '2026-01-16 14:21:07', '2026-01-16T14:21:09.431102'),
  ('4e1d62bb-a105-4f1c-82d8-6b3e9f708d12', 'processing', 3, '77cfa3cd-5b0e-4c7e-9d51-2f8a6c1e4b90', '2026-01-16 14:21:07', '2026-01-16T14:21:09.447655'),
  ('8e7b20cf-2b16-4a2d-93e9-7c4fa0819e23', 'processing', 3, 'b49d06f6-1c2f-4f3a-8e64-7d9b0a5c3e21', '2026-01-16 15:02:44', '2026-01-16T15:02:45.021340'),
  ('9f8c31d0-3c27-4b3e-a4fa-8d50b192af34', 'processing', 3, 'b49d06f6-1c2f-4f3a-8e64-7d9b0a5c3e21', '2026-01-16 15:02:44', '2026-01-16T15:02:45.038871');
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2)
INSERT INTO batch_links (id, batch_id, link_index, link_url, status, celery_task_id, created_at, started_at)
SELECT substr(b.id, 1, 8) || '-0000-4000-8000-00000000000' || n.i, b.id, n.i,
       'https://example.com/' || substr(b.id, 1, 8) || '/' || n.i, 'processing',
       substr(b.id, 1, 8) || '-aaaa-4aaa-8aaa-00000000000' || n.i,
       b.created_at, substr(b.started_at, 1, 20) || '9' || substr(b.started_at, 22)
FROM batches b, n WHERE b.status = 'processing';
-- One of the stuck links has variations that wait for it.
INSERT INTO batch_variations (id, batch_link_id, variation_num, status, created_at) VALUES
  ('a0000001-0000-4000-8000-000000000001', '3d0c51aa-0000-4000-8000-000000000000', 1, 'pending', '2026-01-16 14:21:07'),
  ('a0000001-0000-4000-8000-000000000002', '3d0c51aa-0000-4000-8000-000000000000', 2, 'pending', '2026-01-16 14:21:07');

-- History that is as it should be, and must stay so.
INSERT INTO jobs (id, job_type, status, total_links, completed_links, failed_links, folder_name, error_message, celery_task_id, created_at, started_at, completed_at) VALUES
  ('0c6e1f7a-4d38-4c4f-b50b-9e61c2a3b045', 'batch', 'completed', 2, 2, 0, 'batch-1a9d42e1', NULL, '1d7f2a8b-5e49-4d50-861c-af72d3b4c156', '2026-01-15 09:12:30', '2026-01-15T09:12:31.220418', '2026-01-15T09:19:02.774120'),
  ('1d7f208b-5e49-4d50-861c-0f72d3b4c157', 'single', 'completed', 1, 1, 0, 'single-1d7f208b', NULL, '2e803b9c-6f5a-4e61-972d-b083e4c5d267', '2026-01-15 10:40:11', '2026-01-15T10:40:12.006233', '2026-01-15T10:41:55.310987'),
  ('2e80319c-6f5a-4e61-972d-1083e4c5d268', 'single', 'failed', 1, 0, 1, 'single-2e80319c', 'HTTP 429 Too Many Requests', '3f914cad-706b-4f72-a83e-c194f5d6e378', '2026-01-15 16:05:59', '2026-01-15T16:06:00.914002', '2026-01-15T16:07:41.001299'),
  ('3f9142ad-706b-4f72-a83e-2194f5d6e379', 'batch', 'failed', 1, 0, 1, 'batch-2bae53f2', '1 of 1 links failed', '40a25dbe-817c-4083-b94f-d2a506e7f489', '2026-01-16 08:30:00', '2026-01-16T08:30:01.558830', '2026-01-16T08:33:17.620545');
INSERT INTO batches (id, status, total_links, job_id, created_at, started_at, completed_at, error_message) VALUES
  ('1a9d42e1-4d38-4c4f-b50b-9e61c2a3b046', 'completed', 2, '0c6e1f7a-4d38-4c4f-b50b-9e61c2a3b045', '2026-01-15 09:12:30', '2026-01-15T09:12:31.233790', '2026-01-15T09:19:02.760011', NULL),
  ('2bae53f2-5e49-4d50-861c-0f72d3b4c158', 'failed', 1, '3f9142ad-706b-4f72-a83e-2194f5d6e379', '2026-01-16 08:30:00', '2026-01-16T08:30:01.571204', '2026-01-16T08:33:17.604338', '1 of 1 links failed');
INSERT INTO batch_links (id, batch_id, link_index, link_url, status, error_message, celery_task_id, created_at, started_at, completed_at) VALUES
  ('1a9d42e1-0000-4000-8000-000000000000', '1a9d42e1-4d38-4c4f-b50b-9e61c2a3b046', 0, 'https://example.com/1a9d42e1/0', 'completed', NULL, '51b36ecf-928d-4194-8a50-e3b617f8059a', '2026-01-15 09:12:30', '2026-01-15T09:12:33.100200', '2026-01-15T09:15:48.290100'),
  ('1a9d42e1-0000-4000-8000-000000000001', '1a9d42e1-4d38-4c4f-b50b-9e61c2a3b046', 1, 'https://example.com/1a9d42e1/1', 'completed', NULL, '62c47fd0-a39e-42a5-9b61-f4c728091a6b', '2026-01-15 09:12:30', '2026-01-15T09:15:48.500100', '2026-01-15T09:19:02.590100'),
  ('2bae53f2-0000-4000-8000-000000000000', '2bae53f2-5e49-4d50-861c-0f72d3b4c158', 0, 'https://example.com/2bae53f2/0', 'failed', 'HTTP 429 Too Many Requests', '73d580e1-b4af-43b6-8c72-05d8391a2b7c', '2026-01-16 08:30:00', '2026-01-16T08:30:02.130405', '2026-01-16T08:33:17.480211');
INSERT INTO batch_variations (id, batch_link_id, variation_num, status, celery_task_id, created_at, started_at, completed_at) VALUES
  ('b0000001-0000-4000-8000-000000000001', '1a9d42e1-0000-4000-8000-000000000000', 1, 'completed', '84e691f2-c5b0-44c7-9d83-16e94a2b3c8d', '2026-01-15 09:12:30', '2026-01-15T09:15:49.010101', '2026-01-15T09:16:20.202020'),
  ('b0000001-0000-4000-8000-000000000002', '1a9d42e1-0000-4000-8000-000000000001', 1, 'completed', '95f7a203-d6c1-45d8-ae94-27fa5b3c4d9e', '2026-01-15 09:12:30', '2026-01-15T09:19:03.020202', '2026-01-15T09:19:31.303030');
INSERT INTO video_jobs (id, job_type, status, created_at, started_at, completed_at) VALUES
  ('c0000001-0000-4000-8000-000000000001', 'video', 'completed', '2026-01-15 11:00:00', '2026-01-15T11:00:01.404040', '2026-01-15T11:03:12.505050');
COMMIT;
SQL

systemctl restart celery-worker.service
