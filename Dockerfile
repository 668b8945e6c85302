# fluxui for a machine with an NVIDIA GPU and its container toolkit; without one the small model paints.
#   docker build -t fluxui . && docker run --gpus all -p 127.0.0.1:7860:7860 -v fluxui:/data fluxui
# PyPI's torch brings CUDA along, so no image of CUDA is needed.
FROM python:3.12-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    FLUXUI_HOST=0.0.0.0 \
    FLUXUI_DATA_DIR=/data/fluxui \
    HF_HOME=/data/huggingface

WORKDIR /app
COPY requirements.txt requirements-celery.txt ./
RUN pip install --no-cache-dir -r requirements-celery.txt
COPY app.py spaces.yaml LICENSE README.md CHANGELOG.md ./
COPY docs docs
COPY fluxui fluxui

RUN useradd --no-log-init --uid 1000 --create-home fluxui && mkdir /data && chown fluxui /data
USER 1000
VOLUME /data
EXPOSE 7860

# An answer is enough: without the login it is a refusal.
HEALTHCHECK --interval=30s --start-period=60s \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 7860), 5)"]
STOPSIGNAL SIGTERM
CMD ["python", "app.py"]
